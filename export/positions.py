def feed_positions(g, hidden, lengths):
    return "position_ids" in g.inputs
