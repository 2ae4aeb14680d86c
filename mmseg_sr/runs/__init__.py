"""Turn a config into a run of mmengine's Runner, or into a network to look at."""
