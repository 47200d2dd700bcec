"""How much predictions depend on labels, over a whole batch: functions of the soft confusion matrix and its kin."""
