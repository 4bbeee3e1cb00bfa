"""The perf suite: the node beside NGINX on one machine, in one run, as ratios.

A *profile* (profiles/*.toml) says how a peer is started; a *scenario* (scenarios/*.py) says what is asked of it and
what it must reach; a *round* asks every peer the same once, so that what the machine does meanwhile hits all of
them alike. The method and its limits are argued in README.md. Nothing here is imported by the node.
"""
