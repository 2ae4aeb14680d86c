from fixtures import *  # noqa: F403  (what all tests share)
