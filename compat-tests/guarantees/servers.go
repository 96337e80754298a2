package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/triglot/triglot/compat-tests/ensemble"
)

// options start a cluster as its makers ship it, but for room for the data.
func (c *config) options(f face, heapMiB int, args ...string) ensemble.Options {
	const ready = 10 * time.Minute // etcd and ZooKeeper read all that there is
	o := ensemble.Options{Kind: f.kind, Ready: ready, Args: append(args, strings.Fields(c.extra)...)}
	if f.kind != ensemble.ZooKeeper {
		o.Args = append(o.Args, "--quota-backend-bytes", "17179869184")
	} else {
		// ZooKeeper logs at this level as it is shipped.
		o.JVM = []string{fmt.Sprintf("-Xms%dm", heapMiB), fmt.Sprintf("-Xmx%dm", heapMiB), "-XX:-UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info"}
	}
	return o
}

// start starts a cluster with nothing in it.
func (c *config) start(ctx context.Context, f face, heapMiB int, args ...string) (*ensemble.Cluster, error) {
	o := c.options(f, heapMiB, args...)
	if c.dir != "" {
		dir, err := os.MkdirTemp(c.dir, "guarantees-"+string(f.kind)+"-")
		if err != nil {
			return nil, err
		}
		o.Dir = dir
	}
	cluster, err := ensemble.Start(ctx, o)
	if err != nil {
		err = errors.Join(err, c.end(cluster))
	}
	return cluster, err
}

// end ends a cluster and removes its data, but for that which is kept.
func (c *config) end(cluster *ensemble.Cluster) error {
	errs := []error{c.keepLogs(cluster), cluster.Close()}
	if c.dir != "" && !cluster.Kept {
		errs = append(errs, os.RemoveAll(cluster.Dir))
	}
	return errors.Join(errs...)
}

func (c *config) keepLogs(cluster *ensemble.Cluster) error {
	if c.logs == "" {
		return nil
	}
	dir := filepath.Join(c.logs, time.Now().Format("150405-")+string(cluster.Kind))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for _, m := range cluster.Members {
		errs = append(errs, os.WriteFile(filepath.Join(dir, m.Name+".log"), []byte(m.Log()), 0o644))
	}
	return errors.Join(errs...)
}

// ready is a cluster with what a part wants in it.
func (c *config) ready(ctx context.Context, p part, f face) (*ensemble.Cluster, error) {
	if p.kept != "" {
		return c.fromFilled(ctx, p, f)
	}
	cluster, err := c.start(ctx, f, p.heapMiB)
	if err != nil {
		return nil, err
	}
	if err := p.fill(ctx, cluster, f); err != nil {
		return nil, errors.Join(err, c.end(cluster))
	}
	return cluster, nil
}

// fillAll fills the clusters of a part that are kept.
func (c *config) fillAll(ctx context.Context, p part) error {
	if p.kept == "" {
		return errors.New("-only fill wants -filled")
	}
	for _, f := range c.facesOf(p) {
		if p.omitted(f) != "" {
			continue
		}
		if err := c.fillKept(ctx, p, f); err != nil {
			return fmt.Errorf("fill %v: %w", f, err)
		}
	}
	return nil
}

// filledMark is a file in the directory of a cluster that has all its keys.
const filledMark = "filled"

func (c *config) keptOptions(p part, f face) ensemble.Options {
	o := c.options(f, p.heapMiB)
	o.Dir, o.Kept = filepath.Join(c.filled, string(f.kind)+"-"+p.kept), true
	return o
}

// fillKept fills a cluster from the beginning, unless that was done before, and stops it.
func (c *config) fillKept(ctx context.Context, p part, f face) error {
	o := c.keptOptions(p, f)
	mark := filepath.Join(o.Dir, filledMark)
	if _, err := os.Stat(mark); err == nil {
		return nil
	}
	if err := errors.Join(os.RemoveAll(o.Dir), os.MkdirAll(o.Dir, 0o755)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	began := time.Now()
	cluster, err := ensemble.Start(ctx, o)
	if err == nil {
		err = p.fill(ctx, cluster, f)
	}
	for _, m := range cluster.Members {
		_ = m.Terminate() // etcd dies of the signal, and ZooKeeper says 143
	}
	if err = errors.Join(err, c.end(cluster)); err != nil {
		return err
	}
	log.Printf("%v: filled %s after %s", f, o.Dir, time.Since(began).Round(time.Second))
	return os.WriteFile(mark, nil, 0o644)
}

// fromFilled starts the cluster that is kept.
func (c *config) fromFilled(ctx context.Context, p part, f face) (*ensemble.Cluster, error) {
	if err := c.fillKept(ctx, p, f); err != nil {
		return nil, err
	}
	cluster, err := ensemble.Start(ctx, c.keptOptions(p, f))
	if err != nil {
		return nil, errors.Join(err, c.end(cluster))
	}
	return cluster, nil
}
