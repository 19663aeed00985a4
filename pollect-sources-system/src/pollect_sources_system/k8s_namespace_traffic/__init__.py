"""Source `K8sNamespaceTraffic`: the packet counter, its loader, and who owns which cgroup."""
