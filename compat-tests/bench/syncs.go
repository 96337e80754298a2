package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// syncs is what a server says of the syncs of its log, since it started.
type syncs struct {
	count float64
	total time.Duration
}

// syncMetric is etcd's name for the histogram, which Triglot has too.
const syncMetric = "etcd_disk_wal_fsync_duration_seconds"

// syncSource asks a server for its syncs.
type syncSource func(context.Context) (syncs, error)

// noSyncs is what null servers say.
func noSyncs(context.Context) (syncs, error) { return syncs{}, nil }

// metricSyncs asks the metrics of an etcd or a Triglot at url.
func metricSyncs(url string) syncSource {
	return func(ctx context.Context) (found syncs, err error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
		if err != nil {
			return syncs{}, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return syncs{}, err
		}
		defer func() { err = errors.Join(err, response.Body.Close()) }()
		if response.StatusCode != http.StatusOK {
			return syncs{}, fmt.Errorf("/metrics answers %s", response.Status)
		}
		return parseSyncs(response.Body)
	}
}

// mntrSyncs asks a ZooKeeper. It knows only whole milliseconds of how long its syncs took, most of
// which are shorter, so that is left out.
func mntrSyncs(ask func(word string) (string, error)) syncSource {
	return func(context.Context) (syncs, error) {
		text, err := ask("mntr")
		if err != nil {
			return syncs{}, err
		}
		return parseMntr(text)
	}
}

// parseMntr finds the number of syncs in the answer to mntr.
func parseMntr(text string) (syncs, error) {
	var found syncs
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if name != "zk_cnt_fsynctime" {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return syncs{}, fmt.Errorf("mntr: %s: %w", name, err)
		}
		found.count = number
	}
	return found, nil
}

// parseSyncs finds the histogram in a text of metrics.
func parseSyncs(text io.Reader) (syncs, error) {
	var found syncs
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if name != syncMetric+"_sum" && name != syncMetric+"_count" {
			continue
		}
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return syncs{}, fmt.Errorf("metric %s: %w", name, err)
		}
		if strings.HasSuffix(name, "_count") {
			found.count = number
		} else {
			found.total = time.Duration(number * float64(time.Second))
		}
	}
	return found, lines.Err()
}
