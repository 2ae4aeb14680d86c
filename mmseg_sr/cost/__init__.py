"""Measure what SR blocks cost: parameters, multiply-adds, time and memory."""
