"""`make chart`: writes rendered.yaml, what `helm template` makes of the chart, so that every test run can look at it.

The file names the digest of what it was made of: a chart that was changed and not rendered again is found without helm.
helm is a Go program: `go install helm.sh/helm/v3/cmd/helm@v3.22.0` where it is not installed.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CHART, RENDERED = HERE / "dongui", HERE / "rendered.yaml"
# The witness is off by default; here everything there is shall be seen.
COMMAND = ["template", "dongui", str(CHART), "--namespace", "dongui", "--kube-version", "1.37.0"]
OPTIONS = ["--set", "witness.enabled=true"]


def digest() -> str:
    """Return the SHA-256 of every file of the chart, names included."""
    found = hashlib.sha256()
    for path in sorted(p for p in CHART.rglob("*") if p.is_file()):
        found.update(f"{path.relative_to(CHART)}\0{path.read_text(encoding='utf-8')}\0".encode())
    return found.hexdigest()


def render(helm: str) -> str:
    """Return what helm makes of the chart, below a line with its digest. Raises CalledProcessError."""
    done = subprocess.run([helm, *COMMAND, *OPTIONS], check=True, capture_output=True, text=True)
    return f"# Made by infra/helm/render.py of chart sha256:{digest()}. Do not edit.\n{done.stdout}"


def main() -> int:
    """Lint the chart and write the file."""
    helm = sys.argv[1] if len(sys.argv) > 1 else "helm"
    try:
        subprocess.run([helm, "lint", "--strict", "--quiet", str(CHART), "--kube-version", "1.37.0"], check=True)
        RENDERED.write_text(render(helm), encoding="utf-8")
    except FileNotFoundError:
        sys.stderr.write("no helm: go install helm.sh/helm/v3/cmd/helm@v3.22.0, then make chart HELM=PATH\n")
        return 1
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{error.stderr or ''}helm refuses the chart\n")
        return 1
    sys.stdout.write(f"{RENDERED} is up to date\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
