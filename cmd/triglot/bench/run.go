package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"

	"github.com/triglot/triglot/cmd/triglot/bench/drive"
	"github.com/triglot/triglot/cmd/triglot/bench/keyspace"
	"github.com/triglot/triglot/cmd/triglot/bench/measure"
	"github.com/triglot/triglot/cmd/triglot/bench/report"
)

// clientGC is the client's GC percent: its garbage must not take the server's cores.
const clientGC = 400

// run is one load, from its connections to its report.
type run struct {
	options *options
	keys    *keyspace.Space
	record  measure.Recorder
	stderr  io.Writer
	// cancel ends the load, and says why.
	cancel context.CancelCauseFunc

	mu    sync.Mutex // guards notes
	notes []string
}

// perform makes the load and reports it. failed says that something was not done as it
// should; what, stands in the report.
func perform(ctx context.Context, o *options, stdout, stderr io.Writer) (failed bool, err error) {
	defer debug.SetGCPercent(debug.SetGCPercent(clientGC))
	out, err := openOutputs(&o.out)
	if err != nil {
		return true, err
	}
	defer out.close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{options: o, keys: keyspace.New(o.keyPrefix, o.keys, o.valueBytes), stderr: stderr, cancel: cancel}
	for _, text := range o.notes {
		r.note(text)
	}
	result, err := r.measure(ctx)
	if err != nil {
		return true, err
	}
	return result.Errors > 0, out.publish(result, stdout)
}

// note takes down what differs from what was asked for.
func (r *run) note(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, text)
	r.say(text)
}

// say tells the person who waits.
func (r *run) say(text string) {
	if !r.options.out.quiet {
		_, _ = io.WriteString(r.stderr, text+"\n") // there is nobody else to tell
	}
}

// fail ends the load.
func (r *run) fail(err error) { r.cancel(err) }

func (r *run) measure(ctx context.Context) (result *report.Result, err error) {
	o := r.options
	name := o.load
	if o.fill {
		name = fillName
	}
	load, err := protocolOf(o.protocol).open(ctx, r, name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := load.Close(); err == nil && closeErr != nil {
			r.note("the end of the load: " + closeErr.Error()) // what was measured counts nevertheless
		}
		if result != nil {
			result.Notes = r.notes
		}
	}()
	if err := r.ready(ctx, load); err != nil {
		return nil, err
	}
	result = &report.Result{
		Load: name, Protocol: o.protocol, Clients: o.pace.Clients, Connections: o.connections,
		Keys: o.keys, ValueBytes: o.valueBytes, Flags: o.given,
	}
	if err := r.drive(ctx, load, result); err != nil {
		return nil, err
	}
	return result, nil
}

// ready makes what the load needs.
func (r *run) ready(ctx context.Context, load drive.Load) error {
	filled, err := load.Filled(ctx)
	if err != nil {
		return err
	}
	if !filled {
		if err := r.fillFirst(ctx); err != nil {
			return fmt.Errorf("fill: %w", err)
		}
	}
	return load.Prepare(ctx)
}

// fillFirst writes all keys, for a load that needs them.
func (r *run) fillFirst(ctx context.Context) (err error) {
	r.say(fmt.Sprintf("writing %d keys first", r.options.keys))
	o := *r.options
	o.fill, o.connections = true, 0
	o.decide()
	fill := &run{options: &o, keys: r.keys, stderr: r.stderr, cancel: r.cancel}
	load, err := protocolOf(o.protocol).open(ctx, fill, fillName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, load.Close()) }()
	if err := load.Prepare(ctx); err != nil {
		return err
	}
	if _, err := drive.Run(ctx, load, o.pace, &fill.record); err != nil {
		return err
	}
	for text, n := range fill.record.Errors() {
		return fmt.Errorf("%d times: %s", n, text)
	}
	return nil
}

// drive makes the calls, watched by a monitor, and sets what was measured.
func (r *run) drive(ctx context.Context, load drive.Load, result *report.Result) error {
	o := r.options
	if _, err := measure.UsagesOf(o.servers.pids); err != nil {
		return usageError("--pids: %w", err)
	}
	before, err := r.settle(ctx) // from what made ready
	if err != nil {
		return err
	}
	var progress io.Writer
	if !o.out.quiet {
		progress = r.stderr
	}
	m := newMonitor(&r.record, o.servers.pids, progress, before)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { m.run(watching, o.patience(), r.fail) })
	clientBefore := measure.OwnCPU()
	took, err := drive.Run(ctx, load, o.pace, &r.record)
	client := measure.OwnCPU() - clientBefore
	after, usageErr := measure.UsagesOf(o.servers.pids)
	stop()
	wg.Wait()
	if err = r.whyEnded(err); err != nil {
		return err
	}
	if usageErr != nil {
		return usageErr
	}
	quiet, err := r.settle(ctx)
	if err != nil {
		return err
	}
	r.noteLate()
	result.Measured(&r.record, took, load.Delivers())
	result.Used(o.servers.pids, before, after, quiet, client)
	result.Timeline = m.timeline
	return nil
}

// settle waits until the servers are quiet.
func (r *run) settle(ctx context.Context) ([]measure.Usage, error) {
	if len(r.options.servers.pids) == 0 {
		return nil, nil
	}
	return measure.Settle(ctx, r.options.servers.pids, r.options.servers.grace)
}

// whyEnded is nil if the load was made, or so much of it that what there is can be shown.
func (r *run) whyEnded(err error) error {
	if err != nil && errors.Is(err, drive.ErrTooManyErrors) {
		r.note(err.Error())
		return nil
	}
	return err
}

// lateShare is how many calls of an open loop may begin late without a word: from there on the
// p99 is that of calls which waited for a client.
const lateShare = 0.01

// noteLate says that an open loop did not keep its rate.
func (r *run) noteLate() {
	if share, latest := r.record.Late(); share > lateShare {
		r.note(fmt.Sprintf("the open loop began %.0f%% of its calls late, by up to %v: all clients were busy",
			100*share, latest.Round(measure.LateFrom)))
	}
}
