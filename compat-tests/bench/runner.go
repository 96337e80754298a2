package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	// foreignLimit is how much of one core others may take while a cell is measured. On a
	// quiet machine the kernel's own threads take 0 to 5 %.
	foreignLimit = 0.15
	// maxTries is how often a pair is measured when others take more than that.
	maxTries = 3
)

// session is the servers of a cell, running, with what the cell wants in them.
type session interface {
	// measure warms a server up and puts the cell's load on it once. The seed is the same
	// for all servers of a pair.
	measure(ctx context.Context, role string, seed int) (sample, error)
	close() error
}

// runner measures cells, one after the other, and keeps what is finished. It is for one
// goroutine.
type runner struct {
	open  func(ctx context.Context, c cell, roles []string) (session, error)
	store store
	ids   identity
	// against takes the peer's place in every cell, "" if the stock server is meant.
	against string
	pairs   int
	tries   int
	// again measures what is finished once more.
	again   bool
	machine machine
	log     io.Writer
	now     func() time.Time
}

// roles are the servers of a cell, Triglot first.
func (r *runner) roles(c cell) []string {
	list := []string{roleTriglot, r.peer(c)}
	if c.Null != "" {
		list = append(list, c.Null)
	}
	return list
}

func (r *runner) peer(c cell) string {
	if r.against != "" {
		return r.against
	}
	return c.peer()
}

// finished is the record of a cell that needs no measuring, nil if it does.
func (r *runner) finished(c cell) (*record, error) {
	key, err := r.ids.key(c, r.peer(c))
	if err != nil {
		return nil, err
	}
	found, err := r.store.load(c, key)
	if err != nil || found == nil || len(found.Pairs) < r.pairs {
		return nil, err
	}
	return found, nil
}

// forecast is about how long the cells take that are still to be measured.
func (r *runner) forecast(cells []cell) (time.Duration, error) {
	total := time.Duration(0)
	for _, c := range cells {
		done, err := r.finished(c)
		if err != nil {
			return 0, err
		}
		if done == nil || r.again {
			total += c.forecast(r.pairs, r.roles(c))
		}
	}
	return total, nil
}

// run measures the cells that are not finished. A cell that fails does not keep the others
// from being measured; it is measured when the bench is run again.
func (r *runner) run(ctx context.Context, cells []cell) (map[string]*record, error) {
	records := map[string]*record{}
	var errs []error
	for i, c := range cells {
		if err := ctx.Err(); err != nil {
			return records, errors.Join(append(errs, context.Cause(ctx))...)
		}
		left, err := r.forecast(cells[i:])
		if err != nil {
			return records, err
		}
		done, err := r.finished(c)
		if err != nil {
			return records, err
		}
		if done != nil && !r.again {
			records[c.Name] = done
			fmt.Fprintf(r.log, "[%d/%d] %s: kept from %s\n", i+1, len(cells), c, done.Ended.Format(time.DateTime))
			continue
		}
		fmt.Fprintf(r.log, "[%d/%d] %s; about %s to go\n", i+1, len(cells), c, left.Round(time.Second))
		measured, failed := r.cell(ctx, c)
		if measured != nil { // all pairs are there, even if a server then did not end well
			records[c.Name] = measured
			kept, err := r.store.save(measured)
			if err != nil {
				return records, errors.Join(append(errs, failed, err)...)
			}
			if !kept {
				fmt.Fprintf(r.log, "  not kept: what there is has more pairs\n")
			}
		}
		if failed != nil {
			errs = append(errs, fmt.Errorf("%s: %w", c, failed))
			fmt.Fprintf(r.log, "  FAILED: %v\n", failed)
		}
	}
	return records, errors.Join(errs...)
}

// cell measures all pairs of a cell.
func (r *runner) cell(ctx context.Context, c cell) (_ *record, err error) {
	began, roles := r.now(), r.roles(c)
	key, err := r.ids.key(c, r.peer(c))
	if err != nil {
		return nil, err
	}
	s, err := r.open(ctx, c, roles)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	result := &record{Key: key, Cell: c, Peer: r.peer(c), Machine: r.machine}
	for i := range r.pairs {
		p, err := r.pair(ctx, s, roles, i)
		if err != nil {
			return nil, err
		}
		result.Pairs = append(result.Pairs, p)
		fmt.Fprintf(r.log, "  %s\n", describePair(i, p, result.Peer))
	}
	result.Ended = r.now()
	result.Took = result.Ended.Sub(began)
	return result, nil
}

// pair measures each server once, again while the machine is too busy; of all tries it keeps
// the quietest.
func (r *runner) pair(ctx context.Context, s session, roles []string, round int) (pair, error) {
	var best pair
	for try := 1; ; try++ {
		p := pair{Samples: map[string]sample{}}
		for _, role := range order(roles, round) {
			measured, err := s.measure(ctx, role, round+1)
			if err != nil {
				return pair{}, fmt.Errorf("%s: %w", role, err)
			}
			p.Samples[role] = measured
		}
		if try == 1 || p.foreign() < best.foreign() {
			best = p
		}
		best.Tries, best.Busy = try, best.foreign() > foreignLimit
		if !best.Busy || try >= r.tries {
			return best, nil
		}
	}
}

// order lists the servers of a round: forwards in even rounds, backwards in odd ones (A B B
// A ...), so that a drift of the machine favours none.
func order(roles []string, round int) []string {
	turn := slices.Clone(roles)
	if round%2 == 1 {
		slices.Reverse(turn)
	}
	return turn
}

// describePair is the line that shows the progress.
func describePair(round int, p pair, peer string) string {
	ours, theirs := p.Samples[roleTriglot], p.Samples[peer]
	text := fmt.Sprintf("pair %d: CPU %.1f / %.1f us = %.2f, %.0f / %.0f ops/s = %.2f, p99 %.2f / %.2f ms; foreign %.0f %%", round+1,
		ours.spent(), theirs.spent(), cpuRatio.compare(ours, theirs), ours.Rate, theirs.Rate, ratio(ours.Rate, theirs.Rate),
		ours.P99/1000, theirs.P99/1000, 100*p.foreign())
	if p.Busy {
		text += fmt.Sprintf(" (busy after %d tries)", p.Tries)
	}
	return text
}
