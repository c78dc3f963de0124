import json

import numpy as np
import pyarrow.parquet as pq

table = pq.read_table("out/shards/000000.parquet")
codec = json.loads(table.schema.metadata[b"resyn"])["codec"]
row = table.slice(0, 1).to_pylist()[0]
codes = np.frombuffer(row["codes"], "<u2").reshape(codec["num_codebooks"], -1)  # (K, T)
z = np.frombuffer(row["z"], "<f2").reshape(-1, codec["dim"])  # (T, D)
print(row["utt_id"], row["num_frames"], "frames,", codes.shape, z.shape)
