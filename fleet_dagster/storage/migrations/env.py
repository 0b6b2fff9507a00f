"""Alembic environment: runs the migrations on the connection that `Control.migrate` hands over."""

from alembic import context

from fleet_dagster.storage.control.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
