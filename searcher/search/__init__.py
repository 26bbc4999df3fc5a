"""Search strategies, their scores, and the candidates they find."""
