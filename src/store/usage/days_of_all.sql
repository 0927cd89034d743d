SELECT day * 24 AS hour, '' AS key, operation, project, provider, model, {columns} FROM {usage}
WHERE day BETWEEN CAST(?1 AS INTEGER) / 24 AND (CAST(?2 AS INTEGER) - 1) / 24
