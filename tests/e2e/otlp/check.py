"""Reads exports of OpenTelemetry, one JSON object a line, with the messages of the protocol, and fails on any that is not one.

Each line has the path of the export and its body. Unknown fields and wrong types are errors.
"""

import base64
import json
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

IDS = ("traceId", "spanId", "parentSpanId")


def with_bytes(value):
    """OTLP writes ids as hexadecimal digits, Protocol Buffers bytes as base64."""
    if isinstance(value, list):
        return [with_bytes(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64encode(bytes.fromhex(one)).decode() if name in IDS else with_bytes(one)
        for name, one in value.items()
    }


def check_metrics(request):
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        kind = metric.WhichOneof("data")
        data = getattr(metric, kind)
        assert len(data.data_points) > 0, metric.name
        if kind in ("sum", "histogram"):
            assert data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE, metric.name
        for point in data.data_points:
            assert point.time_unix_nano > point.start_time_unix_nano, metric.name
            if kind == "histogram":
                assert point.count > 0 and point.HasField("sum"), metric.name
            else:
                assert point.WhichOneof("value") is not None, metric.name


def check_spans(request):
    for span in request.resource_spans[0].scope_spans[0].spans:
        assert len(span.trace_id) == 16 and len(span.span_id) == 8, span.name
        assert span.end_time_unix_nano >= span.start_time_unix_nano > 0, span.name


count = 0
for line in sys.stdin:
    export = json.loads(line)
    body = json.dumps(with_bytes(json.loads(export["body"])))
    if export["path"].endswith("/v1/metrics"):
        check_metrics(json_format.Parse(body, ExportMetricsServiceRequest()))
    else:
        check_spans(json_format.Parse(body, ExportTraceServiceRequest()))
    count += 1
print(count)
