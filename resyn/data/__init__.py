"""What a token shard is: sources, manifest, units, shards, ledger, quarantine, audit, reader."""
