# The doors of the repository: what a person or CI runs. `make` alone lists them.
.PHONY: help servers

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

servers: ## bring the real servers of the tests into .servers/ (cached)
	@scripts/servers
