"""Pure decisions: planner, state machines and the folds over records. Touches nothing outside its arguments."""
