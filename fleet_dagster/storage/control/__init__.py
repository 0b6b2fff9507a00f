"""The control database: what is small and transactional (sites, settings, leases, intents, the commit log)."""
