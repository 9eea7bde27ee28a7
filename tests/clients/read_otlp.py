"""Reads exported logs, a request a line, as OpenTelemetry's own messages; prints the number and kind of each record."""

import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

for line in sys.stdin:
    # Strict: a field that the protocol doesn't know is an error.
    request = json_format.Parse(line, ExportLogsServiceRequest())
    for resource in request.resource_logs:
        names = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
        for scope in resource.scope_logs:
            for record in scope.log_records:
                attributes = {pair.key: pair.value for pair in record.attributes}
                body = {pair.key: pair.value for pair in record.body.kvlist_value.values}
                assert record.time_unix_nano // 1_000_000 == body["time"].int_value
                print(
                    names["service.name"],
                    attributes["sluice.record"].int_value,
                    record.event_name,
                    record.severity_text,
                    body["class_uid"].int_value,
                )
