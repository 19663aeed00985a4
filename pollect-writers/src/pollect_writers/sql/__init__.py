"""Writer `Sql`: history in SQLite, or in any database that SQLAlchemy knows."""
