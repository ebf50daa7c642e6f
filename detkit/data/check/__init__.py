"""Looking at a whole data set: what a run would refuse, mend or be misled by."""
