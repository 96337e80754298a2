package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/triglot/triglot/cmd/triglot/bench/report"
)

// outputs are where a result goes. They are opened before the load, so that a wrong path does
// not cost what was measured; what is in a file stays until there is a result.
type outputs struct {
	json, html *os.File // nil if not wanted
	// piped says that the JSON goes to standard output, instead of the table.
	piped bool
}

// openOutputs opens the files. The caller closes them.
func openOutputs(o *outputOptions) (out *outputs, err error) {
	out = &outputs{piped: o.json == "-"}
	if !out.piped {
		out.json, err = openOutput("json", o.json)
	}
	if err == nil {
		out.html, err = openOutput("html", o.html)
	}
	if err != nil {
		out.close()
	}
	return out, err
}

// openOutput opens the file that a flag names, if it names one.
func openOutput(flag, path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644) //nolint:gosec // for anybody to read
	if err != nil {
		return nil, usageError("--%s: %w", flag, err)
	}
	return file, nil
}

// close closes what is still open.
func (out *outputs) close() {
	for _, file := range []*os.File{out.json, out.html} {
		if file != nil {
			_ = file.Close() // what was written was closed before
		}
	}
}

// publish writes the result where it is wanted, in each place whatever the others do.
func (out *outputs) publish(result *report.Result, stdout io.Writer) error {
	text, err := json.Marshal(result)
	if err != nil {
		return err
	}
	text = append(text, '\n')
	page, err := result.HTML(time.Now())
	if err != nil {
		return err
	}
	shown := []byte(result.Table())
	if out.piped {
		shown = text
	}
	_, err = stdout.Write(shown)
	return errors.Join(err, replace("json", out.json, text), replace("html", out.html, page))
}

// replace makes text all that is in the file of a flag, if there is one, and closes it.
func replace(flag string, file *os.File, text []byte) error {
	if file == nil {
		return nil
	}
	_, err := file.Write(text)
	if info, statErr := file.Stat(); err == nil && statErr == nil && info.Mode().IsRegular() { // no pipe
		err = file.Truncate(int64(len(text)))
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}
