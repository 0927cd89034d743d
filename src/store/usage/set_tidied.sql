UPDATE counters SET value = ?1 WHERE name = 'usage_tidied_hour' AND value = ?2 AND value < ?1
