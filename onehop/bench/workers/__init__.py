"""Programs that `onehop bench` starts, one for each system; those of others run in an environment of their own."""
