"""Read-only pages of the scheduler: findings as dataclasses, rendered by Jinja."""
