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

// syncsOf asks a server for its metrics. Null servers have none: zero.
func syncsOf(ctx context.Context, t *target) (found syncs, err error) {
	if isNull(strings.TrimRight(t.name, "#0123456789")) {
		return syncs{}, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.endpoint+"/metrics", nil)
	if err != nil {
		return syncs{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return syncs{}, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	if response.StatusCode != http.StatusOK {
		return syncs{}, fmt.Errorf("%s: /metrics answers %s", t.name, response.Status)
	}
	return parseSyncs(response.Body)
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
