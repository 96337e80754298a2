package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/triglot/triglot/cmd/triglot/config"
	"github.com/triglot/triglot/core/backup"
	"github.com/triglot/triglot/storage"
	"github.com/triglot/triglot/storage/etcdfile"
)

// snapshotCommand is what there is of `etcdutl snapshot` besides restore.
func (p *process) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Look at a backup",
		Args:  cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	format := "simple"
	status := &cobra.Command{
		Use:   "status FILE",
		Short: "Say what a backup holds: its hash, revision, number of keys, size and version of etcd",
		Args:  oneFile,
		RunE:  func(_ *cobra.Command, args []string) error { return p.snapshotStatus(args[0], format) },
	}
	status.Flags().StringVarP(&format, "write-out", "w", format, "simple, json or table")
	cmd.AddCommand(status)
	return cmd
}

func (p *process) snapshotStatus(path, format string) error {
	if format != "simple" && format != "json" && format != "table" {
		return &config.UsageError{Err: fmt.Errorf("--write-out %q is not one of simple, json, table", format)}
	}
	file, err := backup.Open(storage.DefaultFS, path, etcdfile.HashIgnored)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // read only
	s, err := file.Status()
	if err != nil {
		return file.Explain(err)
	}
	if format == "json" {
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		say(p.stdout, string(b)+"\n")
		return nil
	}
	row := []string{strconv.FormatUint(uint64(s.Hash), 16), strconv.FormatInt(s.Revision, 10), strconv.Itoa(s.Keys), bytesText(s.Size), s.Version}
	if format == "simple" {
		say(p.stdout, strings.Join(row, ", ")+"\n")
		return nil
	}
	say(p.stdout, table([]string{"HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"}, row))
	return nil
}

// bytesText is a size as etcdutl shows it.
func bytesText(n int64) string {
	value, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB", "PB"}
	for ; value >= 1000 && unit < len(units)-1; unit++ {
		value /= 1000
	}
	if value < 10 && unit > 0 {
		return fmt.Sprintf("%.1f %s", value, units[unit])
	}
	return fmt.Sprintf("%.0f %s", value, units[unit])
}

// table draws rows of cells, the first of which is the head, as etcdutl does.
func table(rows ...[]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len(cell))
		}
	}
	line := func(left, middle, right string) string {
		dashes := make([]string, len(widths))
		for i, w := range widths {
			dashes[i] = strings.Repeat("─", w+2)
		}
		return left + strings.Join(dashes, middle) + right + "\n"
	}
	out := line("┌", "┬", "┐")
	for i, row := range rows {
		for j, cell := range row {
			pad := widths[j] - len(cell)
			left := pad // numbers end in line, heads are in the middle
			if i == 0 {
				left = pad / 2
			}
			out += "│ " + strings.Repeat(" ", left) + cell + strings.Repeat(" ", pad-left) + " "
		}
		out += "│\n"
		if i == 0 {
			out += line("├", "┼", "┤")
		}
	}
	return out + line("└", "┴", "┘")
}
