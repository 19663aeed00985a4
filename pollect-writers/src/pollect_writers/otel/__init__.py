"""Writer `Otel`: OTLP over HTTP, as OpenTelemetry collectors take it."""
