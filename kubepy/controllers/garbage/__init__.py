"""The garbage collector (`pkg/controller/garbagecollector`): objects whose owners have gone go too.

    graph.py      who owns whom, over every resource (pure)
    collector.py  watching everything, deleting, orphaning, unblocking
"""
