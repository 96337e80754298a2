package report

import "time"

// HTML is a page.
func (r *Result) HTML(time.Time) ([]byte, error) { return nil, nil }
