"""What a person does beside the daily run: `python -m crm_to_meta_cli check|preview|plan|doubts|erase`.

The commands find their connections where the DAG finds them, print for a person and decide nothing themselves: the
decisions are those of `crm_to_meta`. In a clone `make check` and its neighbours start them on the embedded parts.
"""
