"""Everything that imports ray, deepspeed or mlflow, and nothing else does."""

import os

# Here, because it must precede the imports below this folder, on workers too: nobody reports
# usage or draws bars, and a tracking server that is gone costs seconds a call, not minutes.
for _name, _value in {
    "RAY_USAGE_STATS_ENABLED": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}.items():
    os.environ.setdefault(_name, _value)
