"""Entropy coding: integers to bits and back, under integer models; numpy and constriction only."""
