"""Choose the samples of an epoch: top scores, at random, and in shards."""
