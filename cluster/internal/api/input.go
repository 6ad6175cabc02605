package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// input are the parameters of a request to the API.
type input url.Values

// readInput reads the parameters from the query and the body of a request: a form, as of `curl -d`, or a JSON object. An unknown
// parameter is an error, since an order whose parameter was misspelt is another order.
func readInput(r *http.Request, known ...string) (input, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, inputError(http.StatusBadRequest, "the query %.80q: %v", r.URL.RawQuery, err)
	}
	body, err := io.ReadAll(r.Body) // which the mesh has bounded
	if err != nil {
		return nil, inputError(http.StatusBadRequest, "the body could not be read: %v", err)
	}
	inBody, err := parseBody(bytes.TrimSpace(body))
	if err != nil {
		return nil, inputError(http.StatusBadRequest,
			`the body %.80q is no form like nodes=4 and no JSON object like {"nodes": 4}: %v`, body, err)
	}
	for name, value := range inBody {
		values[name] = append(values[name], value...)
	}
	for name, all := range values {
		if !slices.Contains(known, name) {
			return nil, inputError(http.StatusBadRequest, "unknown parameter %.80q: %s", name, describeKnown(r.URL.Path, known))
		}
		if len(all) > 1 {
			return nil, inputError(http.StatusBadRequest, "parameter %s is there %d times: give it once", name, len(all))
		}
	}
	return input(values), nil
}

func describeKnown(path string, known []string) string {
	if len(known) == 0 {
		return path + " takes none"
	}
	return path + " takes " + strings.Join(known, ", ")
}

func parseBody(body []byte) (url.Values, error) {
	if len(body) == 0 {
		return nil, nil
	}
	if body[0] != '{' { // no name of a parameter begins so
		return url.ParseQuery(string(body))
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something is behind the object")
	}
	values := make(url.Values)
	for name, value := range object {
		switch value.(type) {
		case json.Number, string, bool:
			values.Set(name, fmt.Sprint(value))
		default:
			return nil, fmt.Errorf("%.80q is neither a number, a string nor a boolean", name)
		}
	}
	return values, nil
}

func (in input) get(name string) string { return url.Values(in).Get(name) }

// number returns a parameter that must be there.
func (in input) number(name string, lowest, highest int) (int, error) {
	text := in.get(name)
	if text == "" {
		return 0, inputError(http.StatusBadRequest, "parameter %s is missing: give a number from %d to %d, as in ?%s=4",
			name, lowest, highest, name)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < lowest || n > highest {
		return 0, inputError(http.StatusBadRequest, "%s=%.80s: give a number from %d to %d", name, text, lowest, highest)
	}
	return n, nil
}

// choice reports whether a parameter has its special value, and not the usual one, which is the default.
func (in input) choice(name, usual, special string) (bool, error) {
	switch text := in.get(name); text {
	case "", usual:
		return false, nil
	case special:
		return true, nil
	default:
		return false, inputError(http.StatusBadRequest, "%s=%.80s: give %s (which is the default) or %s",
			name, text, usual, special)
	}
}

// apiError is an error with its status code.
type apiError struct {
	status int
	text   string
}

func (e *apiError) Error() string { return e.text }

func inputError(status int, format string, args ...any) error {
	return &apiError{status, fmt.Sprintf(format, args...)}
}
