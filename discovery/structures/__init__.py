"""From a composition to relaxed candidate crystals."""
