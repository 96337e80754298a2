package cluster

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

// Operation is a request, its answer, and when it was under way, in nanoseconds since
// the history began.
type Operation struct {
	Client        int
	Request       Request
	Answer        Answer
	Called, Ended int64
}

// Recorder collects what clients saw. It is safe for concurrent use.
type Recorder struct {
	began time.Time

	mu         sync.Mutex // guards what follows
	operations []Operation
	findings   []string
}

// NewRecorder begins a history.
func NewRecorder() *Recorder { return &Recorder{began: time.Now()} }

func (r *Recorder) now() int64 { return time.Since(r.began).Nanoseconds() }

// add notes an operation that ends now. A get without an answer says nothing.
func (r *Recorder) add(client int, called int64, request Request, answer Answer) {
	ended := r.now()
	if answer.Outcome == Unknown {
		if !request.writes() {
			return
		}
		ended = math.MaxInt64
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.operations = append(r.operations, Operation{client, request, answer, called, ended})
}

// find notes a broken promise.
func (r *Recorder) find(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	const enough = 50
	if len(r.findings) < enough {
		at := time.Since(r.began).Round(time.Millisecond)
		r.findings = append(r.findings, at.String()+": "+fmt.Sprintf(format, args...))
	}
}

// Findings are the broken promises so far.
func (r *Recorder) Findings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.findings)
}

// Operations are what was recorded so far.
func (r *Recorder) Operations() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.operations)
}

// Event is a change of a key as a watcher is told of it.
type Event struct {
	Key     string
	Value   string `json:",omitempty"`
	Rev     int64
	Version int64 // from 0 on, as ZooKeeper counts
	Deleted bool  `json:",omitempty"`
	// At is when a watcher was told, by the recorder's clock. It is no part of what is compared.
	At int64
}

func (e Event) same(o Event) bool {
	e.At, o.At = 0, 0
	return e == o
}

func (e Event) String() string {
	if e.Deleted {
		return fmt.Sprintf("%d: delete %s", e.Rev, e.Key)
	}
	return fmt.Sprintf("%d: %s=%s", e.Rev, e.Key, e.Value)
}

// CompareStreams says how a stream differs from the one that it should be; "" if it does
// not.
func CompareStreams(want, got []Event) string {
	for i, e := range got {
		switch {
		case i > 0 && e.Rev < got[i-1].Rev:
			return fmt.Sprintf("goes back: %v after %v", e, got[i-1])
		case i >= len(want):
			return fmt.Sprintf("has %d events too many, the first is %v", len(got)-len(want), e)
		case !e.same(want[i]):
			return fmt.Sprintf("has %v where %v must be", e, want[i])
		}
	}
	if len(got) < len(want) {
		return fmt.Sprintf("lacks the last %d events, the first of them is %v", len(want)-len(got), want[len(got)])
	}
	return ""
}

// Resolve compares the writes of a history with the stream of changes: every acknowledged
// one must be there once, at its revision, and everything there must have been asked for.
// It returns the history with what the stream tells of unknown outcomes: a value that is
// there was written, one that is not was never written.
func Resolve(operations []Operation, prefix string, stream []Event) (resolved []Operation, broken []string) {
	at := map[string]Event{}
	deleted := map[string]map[int64]bool{}
	for _, e := range stream {
		if !strings.HasPrefix(e.Key, prefix) {
			continue
		}
		if e.Deleted {
			if deleted[e.Key] == nil {
				deleted[e.Key] = map[int64]bool{}
			}
			deleted[e.Key][e.Rev] = true
			continue
		}
		if first, twice := at[e.Value]; twice {
			broken = append(broken, fmt.Sprintf("%v was done before, as %v", e, first))
		}
		at[e.Value] = e
	}
	asked := map[string]bool{}
	removals := map[string]int{}
	for _, o := range operations {
		r, a := o.Request, o.Answer
		if !r.stores() {
			if r.writes() && (a.Outcome == Unknown || a.Outcome == Done) {
				removals[r.Key]++
			}
			if r.writes() && a.Outcome == Done && a.Row.Rev != unknownNumber && !deleted[r.Key][a.Row.Rev] {
				broken = append(broken, fmt.Sprintf("%v was answered %v, and is not in the history", r, a))
			}
			resolved = append(resolved, o)
			continue
		}
		asked[r.Value] = true
		e, found := at[r.Value]
		switch {
		case a.Outcome == Done && (!found || e.Key != r.Key || a.Row.Rev != unknownNumber && a.Row.Rev != e.Rev):
			broken = append(broken, fmt.Sprintf("%v was answered %v, and the history has %v", r, a, e))
		case a.Outcome != Done && a.Outcome != Unknown && found:
			broken = append(broken, fmt.Sprintf("%v was answered %v, and the history has %v", r, a, e))
		case a.Outcome == Unknown && !found:
			continue
		}
		if found {
			o.Answer = Answer{Done, Row{Rev: e.Rev, Version: e.Version}}
		}
		resolved = append(resolved, o)
	}
	for value, e := range at {
		if !asked[value] {
			broken = append(broken, fmt.Sprintf("%v was never asked for", e))
		}
	}
	for key, revs := range deleted {
		if len(revs) > removals[key] {
			broken = append(broken, fmt.Sprintf("%s was deleted %d times, which was asked for %d times at most", key, len(revs), removals[key]))
		}
	}
	return resolved, broken
}

// checkTimeout bounds porcupine.
const checkTimeout = 2 * time.Minute

// Linearizable says what is wrong with a history, "" if nothing. A drawing of it goes to
// the file if it is.
func Linearizable(operations []Operation, drawing string) string {
	history := make([]porcupine.Operation, 0, len(operations))
	for _, o := range operations {
		history = append(history, porcupine.Operation{
			ClientId: o.Client, Input: o.Request, Call: o.Called, Output: o.Answer, Return: o.Ended,
		})
	}
	model := Model()
	result, info := porcupine.CheckOperationsVerbose(model, history, checkTimeout)
	if result == porcupine.Ok {
		return ""
	}
	text := fmt.Sprintf("the history is not linearizable (%s), see %s", result, drawing)
	file, err := os.Create(drawing)
	if err != nil {
		return text + ": " + err.Error()
	}
	if err := porcupine.Visualize(model, info, file); err != nil {
		text += ": " + err.Error()
	}
	if err := file.Close(); err != nil {
		text += ": " + err.Error()
	}
	return text
}

// Save writes a history down.
func Save(path string, operations []Operation, streams map[string][]Event) error {
	text, err := json.MarshalIndent(map[string]any{"operations": operations, "streams": streams}, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}
