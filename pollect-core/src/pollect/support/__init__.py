"""Helpers for plugin authors; one module, one need, nothing imported until asked for."""
