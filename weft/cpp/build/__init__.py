"""From project trees to shards: what `weft cpp build` does. Start reading at `weft.cpp.build.run`."""
