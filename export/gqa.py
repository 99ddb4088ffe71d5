def replace_group_query_attention(g, caches):
    pass
