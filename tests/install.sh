# What is installed for the tests, each version named once, in folders of $third_party: nothing of it is global. Sourced.
# A log is shown where an installation fails.

# with_pip FOLDER REQUIREMENT...
with_pip() {
  local folder="$third_party/$1" log="$third_party/$1.log"
  [[ -e $folder/.installed ]] && return
  rm -rf "$folder"
  # What pip says of packages that are on this machine already is of no concern.
  if python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$folder" "${@:2}" >"$log" 2>&1; then
    touch "$folder/.installed"
  else
    cat "$log"
    return 1
  fi
}

# A chat model.
install_aimock() {
  [[ -x $third_party/aimock/node_modules/.bin/llmock ]] && return
  npm install --prefix "$third_party/aimock" --ignore-scripts --no-audit --no-fund --loglevel=error \
    @copilotkit/aimock@1.43.0
}

# An OpenTelemetry collector.
install_rotel() { with_pip rotel rotel==0.0.1a15; }

# Langfuse's own client, of today and of the time of v3.
install_langfuse() { with_pip langfuse langfuse==5.0.4 && with_pip langfuse-v3 langfuse==3.15.0; }

# The SDKs of those whose dialects the sandbox's model speaks.
install_model_sdks() { with_pip model-sdks openai==3.57.0 anthropic==2.14.0; }

# A gateway to models.
install_litellm() { with_pip litellm 'litellm[proxy]==1.106.2'; }

# Two stores of traces that are no Langfuse.
install_mlflow() { with_pip mlflow mlflow==3.17.2; }
install_phoenix() { with_pip phoenix arize-phoenix==20.26.1; }

# A cluster engine, for tests/ray.sh.
install_ray() { with_pip ray ray==2.60.0; }

# The schemas of Kubernetes.
install_kubernetes() { with_pip kubernetes kubernetes-validate==1.37.0; }
