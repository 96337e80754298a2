package zkoracle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"
)

// pairTick lets a session live for a minute: it must not end by itself while it is
// detached, on whatever machine.
const pairTick = 3 * time.Second

// pair is the two servers: ZooKeeper, and the one under test, called ours.
type pair struct {
	config          []string
	zooKeeper, ours *side
}

func startPair(ctx context.Context, t target, config ...string) (*pair, error) {
	p := &pair{config: config}
	var errZooKeeper, errOurs error
	var wg sync.WaitGroup
	wg.Go(func() { p.zooKeeper, errZooKeeper = start(ctx, zooKeeper, pairTick, config...) })
	wg.Go(func() { p.ours, errOurs = start(ctx, t, pairTick, config...) })
	wg.Wait()
	if err := errors.Join(errZooKeeper, errOurs); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pair) close() error {
	var errs []error
	for _, s := range []*side{p.zooKeeper, p.ours} {
		if s != nil {
			errs = append(errs, s.close())
		}
	}
	return errors.Join(errs...)
}

// do runs a command on both sides at once.
func (p *pair) do(line string) (zooKeeper, ours []string, err error) {
	var errZooKeeper, errOurs error
	var wg sync.WaitGroup
	wg.Go(func() { zooKeeper, errZooKeeper = p.zooKeeper.do(line) })
	wg.Go(func() { ours, errOurs = p.ours.do(line) })
	wg.Wait()
	if err := errors.Join(errZooKeeper, errOurs); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", line, err)
	}
	return zooKeeper, ours, nil
}

// mismatch is a command to which the two sides answered differently, with all that
// came before it.
type mismatch struct {
	config          []string // of the servers
	script          []string // the command is the last
	zooKeeper, ours []string
	log             string // the end of ours
}

func (m *mismatch) Error() string {
	return fmt.Sprintf("ZooKeeper and ours differ at the end of\n%s\n(-ZooKeeper +ours)\n%s\nend of our log:\n%s",
		strings.Join(m.script, "\n"), cmp.Diff(m.zooKeeper, m.ours), m.log)
}

// step runs a command of a run and compares what comes of it. The script includes
// the command.
func (p *pair) step(script []string) (lines []string, err error) {
	line := script[len(script)-1]
	theirs, ours, err := p.do(line)
	if err != nil {
		return nil, err
	}
	if !slices.Equal(theirs, ours) && allowed(line, theirs, ours) == nil {
		return nil, &mismatch{config: p.config, script: slices.Clone(script), zooKeeper: theirs, ours: ours, log: p.ours.host.LogTail()}
	}
	return theirs, nil
}

// replay runs a script on a fresh pair until a command shows a mismatch.
func replay(ctx context.Context, t target, config, script []string) (found *mismatch, err error) {
	p, err := startPair(ctx, t, config...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for i := range script {
		if _, err := p.step(script[:i+1]); err != nil {
			if errors.As(err, &found) {
				return found, nil
			}
			return nil, err
		}
	}
	return nil, nil
}

// shrink looks for a shorter script that still shows a mismatch: it leaves out
// ever smaller parts, and runs what is left. It gives up after so many attempts.
func shrink(m *mismatch, attempts int, run func(script []string) (*mismatch, error)) (*mismatch, error) {
	for size := len(m.script) / 2; size > 0; size /= 2 {
		for from := 0; from+size < len(m.script); { // never the last command
			if attempts--; attempts < 0 {
				return m, nil
			}
			found, err := run(slices.Delete(slices.Clone(m.script), from, from+size))
			switch {
			case err != nil:
				from += size // what is left refers to what was left out
			case found == nil:
				from += size
			default:
				m = found
			}
		}
	}
	return m, nil
}
