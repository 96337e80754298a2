package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// profileSeconds is how long each load of the mix is sampled.
const profileSeconds = 10

// pgoMix is what the profile is taken under: what servers of either kind are mostly asked
// for. A run must last longer than it is sampled; what is left of it is stopped.
var pgoMix = []cell{
	etcdCell("put", 1000, longRun, 0),
	etcdCell("get", 1000, longRun, 0),
	etcdCell("txn", 1000, longRun, 0),
	watchCell("watch-fanout", "watch-fanout", longRun, 0, "--watchers", "100", "--streams", "10"),
	zkCell("set", 1000, longRun, 0),
	zkCell("get", 1000, longRun, 0),
	zkCell("multi", 1000, longRun, 0),
}

const longRun = 100_000_000

// recordPGO loads a Triglot with the mix, one load after the other, and merges what its
// profiler says of each into one profile for the compiler. "go build" takes it by itself
// where it is named default.pgo and lies in the main package's folder.
func recordPGO(ctx context.Context, r *rig, out string, log io.Writer) (err error) {
	dir, err := os.MkdirTemp(r.dir, "pgo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	starter := r.starter
	starter.args = append(starter.args, "--enable-pprof")
	t, err := starter.start(ctx, roleTriglot, filepath.Join(dir, "server"), 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	profiles := make([]string, len(pgoMix))
	for i, c := range pgoMix {
		profiles[i] = filepath.Join(dir, fmt.Sprintf("%d.pprof", i))
		fmt.Fprintf(log, "%s\n", c)
		if c.Fill != "" {
			if _, _, err := r.tool.run(ctx, c.fillArgs(t)); err != nil {
				return err
			}
		}
		if err := r.sampleLoad(ctx, t, c, profiles[i]); err != nil {
			return fmt.Errorf("%s: %w", c, err)
		}
	}
	merge := exec.CommandContext(ctx, "go", append([]string{"tool", "pprof", "-proto", "-output", out}, profiles...)...)
	if text, err := merge.CombinedOutput(); err != nil {
		return fmt.Errorf("go tool pprof: %w: %s", err, text)
	}
	info, err := os.Stat(out)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "wrote %s, %d KiB\n", out, info.Size()>>10)
	return nil
}

// sampleLoad has a server's profile written to a file while a load runs, and stops the load.
func (r *rig) sampleLoad(ctx context.Context, t *target, c cell, path string) error {
	loading, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { // ends when stop is called, and is waited for
		_, _, err := r.tool.run(loading, c.args(t, phase{ops: c.Ops, seed: 1}))
		ended <- err
	}()
	err := fetchProfile(ctx, t.endpoints(httpProtocol), path)
	select {
	case early := <-ended:
		stop()
		return errors.Join(err, errors.New("the load ended while it was sampled"), early)
	default:
	}
	stop()
	<-ended // that it was stopped is no error
	return err
}

func fetchProfile(ctx context.Context, endpoint, path string) (err error) {
	url := "http://" + endpoint + "/debug/pprof/profile?seconds=" + strconv.Itoa(profileSeconds)
	ctx, cancel := context.WithTimeout(ctx, 3*profileSeconds*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, response.Body)
	return err
}
