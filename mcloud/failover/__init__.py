"""Failover: the primary site, the guards that move the traffic, and the debts of sites that were
replaced.
"""
