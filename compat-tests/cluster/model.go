package cluster

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// Call says what a request does to its key.
type Call string

// The calls. Values are unique in the whole history, and never empty.
const (
	Get    Call = "get"    // etcd's linearizable Range, or ZooKeeper's sync and getData
	Put    Call = "put"    // etcd
	Swap   Call = "swap"   // etcd: a put if the value is the expected one, "" for no key
	Remove Call = "remove" // etcd's DeleteRange
	Create Call = "create" // ZooKeeper
	Set    Call = "set"    // ZooKeeper
	Delete Call = "delete" // ZooKeeper
)

// Outcome is what a call was answered.
type Outcome string

// The outcomes. A Swap whose comparison fails is Refused, and so is a version that
// ZooKeeper does not find.
const (
	Unknown Outcome = "unknown"
	Done    Outcome = "done"
	Missing Outcome = "missing"
	Exists  Outcome = "exists"
	Refused Outcome = "refused"
)

// anyVersion is ZooKeeper's -1. What is not known of a row is unknownNumber.
const (
	anyVersion    = -1
	unknownNumber = -1
)

// Request is what a client asked.
type Request struct {
	Key  string
	Call Call
	// Value is what a write writes, Expected what a Swap compares.
	Value    string `json:",omitempty"`
	Expected string `json:",omitempty"`
	// Version is what Set and Delete compare.
	Version int64
}

// Row is a key as a client is shown it. Version counts from 0, as ZooKeeper does.
type Row struct {
	Value   string `json:",omitempty"`
	Rev     int64
	Version int64
}

// Answer is what a client was told: for a get the row, for a write what is known of it.
type Answer struct {
	Outcome Outcome
	Row     Row
}

// keyState is the sequential state of a key; the zero value is no key.
type keyState struct {
	row Row
	// newest is the highest revision that was shown of it.
	newest int64
}

// Model is the rules of both protocols for one key, as porcupine wants them. A request
// of unknown outcome was done or was not.
func Model() porcupine.Model {
	model := &porcupine.NondeterministicModel{
		Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
			keys := map[string][]porcupine.Operation{}
			for _, o := range history {
				key := o.Input.(Request).Key
				keys[key] = append(keys[key], o)
			}
			var parts [][]porcupine.Operation
			for _, part := range keys {
				parts = append(parts, part)
			}
			return parts
		},
		Init: func() []any { return []any{keyState{}} },
		Step: func(state, input, output any) []any {
			var next []any
			for _, s := range state.(keyState).next(input.(Request), output.(Answer)) {
				next = append(next, s)
			}
			return next
		},
		DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v -> %v", input, output) },
		DescribeState:     func(state any) string { return fmt.Sprint(state.(keyState).row) },
	}
	return model.ToModel()
}

// next returns the states that follow if the request was answered so.
func (s keyState) next(r Request, a Answer) []keyState {
	outcome, done := s.do(r)
	if a.Outcome == Unknown {
		if outcome != Done || r.Call == Get {
			return []keyState{s}
		}
		return []keyState{s, done}
	}
	if a.Outcome != outcome {
		return nil
	}
	switch {
	case outcome != Done:
		return []keyState{s}
	case r.Call == Get:
		return s.shown(a.Row)
	case a.Row.Version != unknownNumber && a.Row.Version != done.row.Version:
		return nil
	}
	if a.Row.Rev != unknownNumber {
		if a.Row.Rev <= s.newest {
			return nil
		}
		done.newest = a.Row.Rev
		if done.row.Value != "" {
			done.row.Rev = a.Row.Rev
		}
	}
	return []keyState{done}
}

// shown compares the row with what a get has shown, and learns its revision.
func (s keyState) shown(row Row) []keyState {
	if s.row.Rev == unknownNumber {
		if row.Rev <= s.newest {
			return nil
		}
		s.row.Rev, s.newest = row.Rev, row.Rev
	}
	if s.row != row {
		return nil
	}
	return []keyState{s}
}

// do returns what a request is to be answered, and the state after it if that is Done.
func (s keyState) do(r Request) (Outcome, keyState) {
	there := s.row.Value != ""
	written := s
	written.row = Row{Value: r.Value, Rev: unknownNumber}
	if there {
		written.row.Version = s.row.Version + 1
	}
	gone := keyState{newest: s.newest}
	switch r.Call {
	case Put:
		return Done, written
	case Swap:
		if s.row.Value != r.Expected {
			return Refused, s
		}
		return Done, written
	case Create:
		if there {
			return Exists, s
		}
		return Done, written
	}
	if !there {
		return Missing, s
	}
	if (r.Call == Set || r.Call == Delete) && r.Version != anyVersion && r.Version != s.row.Version {
		return Refused, s
	}
	switch r.Call {
	case Set:
		return Done, written
	case Remove, Delete:
		return Done, gone
	}
	return Done, s
}

// writes says whether a request changes its key if it is done.
func (r Request) writes() bool { return r.Call != Get }

// stores says whether it leaves its value in the key.
func (r Request) stores() bool {
	return r.Call == Put || r.Call == Swap || r.Call == Create || r.Call == Set
}
