"""SNMP: `SnmpGet` reads listed objects of one agent, `SnmpTable` walks tables.

The packets are the library gufo-snmp's (extra `snmp`), or those of net-snmp's programs. Everything
above a single request is here: addresses, retries, request sizes, objects that do not exist, rates.
"""
