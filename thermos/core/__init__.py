"""Pure decisions: the planner, the state machines and the folds over their records. Touches nothing outside its arguments."""
