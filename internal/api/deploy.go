package api

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/patchbay-dev/patchbay/internal/api/deployment"
	"github.com/patchbay-dev/patchbay/internal/errs"
	"github.com/patchbay-dev/patchbay/internal/function"
)

// planHeader asks for the whole plan in the answer of a confirmation. Other clients get what they know and no more.
const planHeader = "Patchbay-Plan"

// confirmDeploy tells what a deployment would change.
func (s *Server) confirmDeploy(w http.ResponseWriter, r *request) error {
	d, err := s.readDeploy(r, false)
	if err != nil {
		return err
	}
	plan, err := s.opts.Functions.Plan(r.Context(), r.principal.Environment, d)
	if err != nil {
		return err
	}
	view := deployment.Compare(plan, d.OnEvents)
	if r.Header.Get(planHeader) != "" {
		view.Plan = deployment.Describe(plan)
	}
	return writeJSON(w, http.StatusOK, view)
}

// deploy makes the environment have what the body says.
func (s *Server) deploy(w http.ResponseWriter, r *request) error {
	d, err := s.readDeploy(r, true)
	if err != nil {
		return err
	}
	if len(d.Functions) == 0 { // as for other clients, nothing is neither stored nor deleted
		return writeJSON(w, http.StatusOK, []deployment.Deployed{})
	}
	plan, err := s.opts.Functions.Deploy(r.Context(), r.principal.Environment, d)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, deployment.List(d, plan))
}

func (s *Server) readDeploy(r *request, deploying bool) (function.Deployment, error) {
	if err := cliVersion(r.UserAgent()); err != nil {
		return function.Deployment{}, err
	}
	if err := noQuery(r); err != nil {
		return function.Deployment{}, err
	}
	body, err := s.body(r)
	if err != nil {
		return function.Deployment{}, err
	}
	return deployment.Read(body, deploying)
}

var cliAgent = regexp.MustCompile(`^nango-cli/(\d+)\.(\d+)\.(\d+)`)

// oldestCLI is the first release that sends what the routes of a deployment take.
var oldestCLI = [3]int{0, 39, 25}

// cliVersion refuses command lines that are too old. Other clients pass.
func cliVersion(userAgent string) error {
	parts := cliAgent.FindStringSubmatch(userAgent)
	if parts == nil {
		return nil
	}
	var version [3]int
	for i := range version {
		version[i], _ = strconv.Atoi(parts[i+1]) // digits; one that overflows is new enough
	}
	if slices.Compare(version[:], oldestCLI[:]) < 0 {
		return errs.Newf(http.StatusBadRequest, "invalid_cli_version", "This CLI is %s: update it to %d.%d.%d or later",
			strings.Join(parts[1:], "."), oldestCLI[0], oldestCLI[1], oldestCLI[2])
	}
	return nil
}
