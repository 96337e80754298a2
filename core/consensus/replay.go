package consensus

import "fmt"

// Replay hands the entries of a log from the one index to the other, both included, to
// apply, some at a time, as an Applier gets them. What they lead to is for a log that no
// Driver runs on: else they may not be committed, and others may take their places.
func Replay(log Log, from, to uint64, apply func([]Committed) error) error {
	for from <= to {
		entries, err := log.Entries(from, to+1, maxApplyingBytes)
		if err != nil {
			return fmt.Errorf("consensus: read entry %d: %w", from, err)
		}
		batch := make([]Committed, len(entries))
		for i, e := range entries {
			if batch[i], err = readEntry(e); err != nil {
				return fmt.Errorf("consensus: entry %d: %w", e.GetIndex(), err)
			}
		}
		if err := apply(batch); err != nil {
			return err
		}
		from += uint64(len(entries))
	}
	return nil
}
