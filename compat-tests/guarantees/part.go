package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"maps"
	"slices"
	"time"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// part is a kind of figures: one table.
type part struct {
	name, title string
	// steps are done in order to a cluster that is started for them, filled first.
	steps []step
	// perFace says that the protocol of the clients makes a difference: else Triglot is
	// measured once.
	perFace bool
	heapMiB int
	// kept names the filled cluster among those that are kept; empty is none: each round
	// fills its own.
	kept string
	// omit says why a server is left out; nil or empty is that it is not.
	omit func(f face) string
	fill func(ctx context.Context, cluster *ensemble.Cluster, f face) error
}

// step measures something, and returns a figure for each row of the table that it has.
type step struct {
	name string
	do   func(ctx context.Context, cluster *ensemble.Cluster, f face) (figures, error)
}

// figures are durations by the names of their rows.
type figures map[string]time.Duration

// omitted says why a server is left out, empty if it is not.
func (p part) omitted(f face) string {
	if p.omit == nil {
		return ""
	}
	return p.omit(f)
}

// facesOf are those that a part is measured with.
func (c *config) facesOf(p part) (list []face) {
	for _, f := range c.faces {
		if p.perFace || f.kind != ensemble.Triglot || !f.zk {
			list = append(list, f)
		}
	}
	return list
}

// column is the title of a face's figures.
func (p part) column(f face) string {
	if p.perFace {
		return f.String()
	}
	return f.server()
}

// measure has the servers take turns, round by round, so that what else the machine does
// is all of theirs. What fails is logged, and the others go on.
func (c *config) measure(ctx context.Context, p part) error {
	var errs []error
	for round := range c.rounds {
		for _, f := range c.facesOf(p) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := c.turn(ctx, p, f, round); err != nil {
				log.Printf("%s of %v, round %d: %v", p.name, f, round+1, err)
				errs = append(errs, fmt.Errorf("%s of %v, round %d: %w", p.name, f, round+1, err))
			}
		}
	}
	return errors.Join(errs...)
}

// turn measures the steps that were not measured before, with a cluster of their own.
func (c *config) turn(ctx context.Context, p part, f face, round int) (err error) {
	var missing []step
	for _, s := range p.steps {
		if c.kept.of(c.id(p, s, f, round)) == nil && p.omitted(f) == "" {
			missing = append(missing, s)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	began := time.Now()
	cluster, err := c.ready(ctx, p, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.end(cluster)) }()
	log.Printf("%v: round %d, ready after %s", f, round+1, time.Since(began).Round(time.Second))
	for _, s := range missing {
		got, err := s.do(ctx, cluster, f)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		log.Printf("%v: %s: %v", f, s.name, got)
		if err := c.kept.add(c.id(p, s, f, round), got); err != nil {
			return err
		}
	}
	return nil
}

// id names a measurement, with all that makes it another one.
func (c *config) id(p part, s step, f face, round int) string {
	return fmt.Sprintf("%s | %s | %s | args %q | round %d", p.title, p.column(f), s.name, c.extra, round+1)
}

// tableOf has the median and the longest of what was measured.
func (c *config) tableOf(p part) *table {
	t := newTable(fmt.Sprintf("%s (Median of %d rounds, and the longest.)", p.title, c.rounds))
	for _, s := range p.steps {
		for _, f := range c.facesOf(p) {
			rows := map[string][]time.Duration{}
			var names []string
			for round := range c.rounds {
				got := c.kept.of(c.id(p, s, f, round))
				for _, row := range slices.Sorted(maps.Keys(got)) {
					names = appendNew(names, row)
					rows[row] = append(rows[row], got[row])
				}
			}
			for _, row := range names {
				t.set(row, p.column(f), summary(rows[row]))
			}
		}
	}
	for _, f := range c.facesOf(p) {
		if why := p.omitted(f); why != "" {
			t.set("not measured", p.column(f), why)
		}
	}
	return t
}
