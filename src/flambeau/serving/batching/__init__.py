"""Queues and batches: work-conserving, bounded."""
